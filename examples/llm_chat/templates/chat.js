const form = document.querySelector("#ask");
const [send, stop] = form.querySelectorAll("button");
let request;

function show(role, text) {
  const item = document.createElement("li");
  item.className = role;
  item.textContent = text;
  document.querySelector("#messages").append(item);
  form.scrollIntoView({ block: "nearest" });
  return item;
}

form.onsubmit = async event => {
  event.preventDefault();
  if (send.hidden || !form.question.value.trim()) return;
  const body = new URLSearchParams(new FormData(form));
  show("user", form.question.value);
  form.question.value = "";
  request = new AbortController();
  [send.hidden, stop.hidden] = [true, false];
  try {
    const response = await fetch(form.action, { method: "POST", body, signal: request.signal });
    const answer = show(response.ok ? "assistant" : "error", "");
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let part; !(part = await reader.read()).done; ) answer.append(part.value);
  } catch (error) {
    if (error.name !== "AbortError") show("error", "The server can't be reached.");
  }
  [send.hidden, stop.hidden] = [false, true];
};

stop.onclick = () => request.abort();
form.question.onkeydown = event => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
};
