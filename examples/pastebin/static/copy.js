// URLs get their host here, since the server doesn't trust the one that a client names.
for (const url of document.querySelectorAll(".url")) {
  url.textContent = new URL(url.textContent, location);
}
// Without a secure context, browsers let no script copy: then the buttons stay hidden.
const buttons = navigator.clipboard ? document.querySelectorAll("[data-copy]") : [];
for (const button of buttons) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const { textContent } = document.querySelector(button.dataset.copy);
    await navigator.clipboard.writeText(textContent);
    button.textContent = "Copied";
  });
}
