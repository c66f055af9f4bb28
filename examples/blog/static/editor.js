// A preview, and pictures that are chosen, dropped or pasted. Without this script the form works too.
const form = document.querySelector("#editor");
const text = document.querySelector("#body");
const show = document.querySelector("#show");
const preview = document.querySelector("#preview");
const picture = document.querySelector("#picture");
const note = document.querySelector("#note");
let saved = true;

async function answerOf(address, body, headers = {}) {
  const response = await fetch(address, { method: "POST", body, headers });
  const answer = await response.text();
  if (!response.ok) throw new Error(answer);
  return answer;
}

async function toggle() {
  const on = preview.hidden;
  if (on) {
    try {
      // The server makes the HTML, as it will for readers; nothing that was written in the text can be a script in it.
      preview.innerHTML = await answerOf(form.dataset.preview, new URLSearchParams({ body: text.value }));
    } catch (error) {
      note.textContent = error.message;
      return;
    }
  }
  note.textContent = "";
  preview.hidden = !on;
  text.hidden = on;
  show.setAttribute("aria-pressed", String(on));
  show.textContent = on ? "Go on writing" : "Preview";
}

async function add(files) {
  for (const file of files) {
    const data = new FormData();
    data.append("alt", file.name.replace(/\.\w+$/, "").replace(/[_-]+/g, " "));
    data.append("picture", file);
    note.textContent = `Sending ${file.name} …`;
    try {
      const { markdown } = JSON.parse(await answerOf(form.dataset.upload, data, { Accept: "application/json" }));
      const before = text.selectionStart && text.value[text.selectionStart - 1] !== "\n" ? "\n\n" : "";
      text.setRangeText(`${before}${markdown}\n`, text.selectionStart, text.selectionEnd, "end");
      note.textContent = "Say in the brackets what the picture shows.";
      saved = false;
    } catch (error) {
      note.textContent = error.message;
    }
  }
}

show.addEventListener("click", toggle);
picture.addEventListener("change", async () => { await add([...picture.files]); picture.value = ""; });
text.addEventListener("dragover", (event) => { event.preventDefault(); text.classList.add("over"); });
text.addEventListener("dragleave", () => text.classList.remove("over"));
text.addEventListener("drop", (event) => {
  text.classList.remove("over");
  if (event.dataTransfer.files.length) { event.preventDefault(); add([...event.dataTransfer.files]); }
});
text.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) { event.preventDefault(); add([...event.clipboardData.files]); }
});
form.addEventListener("input", () => { saved = false; });
form.addEventListener("submit", () => { saved = true; });
addEventListener("beforeunload", (event) => { if (!saved) event.preventDefault(); });
document.querySelector("#tools").hidden = false;
