// Buttons that copy the text of another element stay hidden without a secure context.
const buttons = document.querySelectorAll("button[data-copy]");
for (const button of navigator.clipboard ? buttons : []) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const { textContent } = document.querySelector(button.dataset.copy);
    await navigator.clipboard.writeText(textContent);
    button.textContent = "Copied";
  });
}
