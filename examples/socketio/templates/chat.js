const element = (id) => document.getElementById(id);

function show(text, kind) {
  const line = Object.assign(document.createElement("p"), {className: kind});
  line.textContent = text;  // never innerHTML, since other people have written it
  element("log").append(line);
  line.scrollIntoView({block: "nearest"});
}

// It begins with HTTP, goes on over a WebSocket if it can, and connects again by itself.
const socket = io({path: document.body.dataset.path, autoConnect: false});

socket.on("connect", async () => {
  element("enter").hidden = true;
  element("chat").hidden = false;
  const {error} = await socket.emitWithAck("enter", element("room").value);
  show(error ?? "You are here.", "note");
});
socket.on("connect_error", (error) => {
  if (socket.active) return;  // it tries again
  element("name").setCustomValidity(error.message);
  element("name").reportValidity();
});
socket.on("disconnect", () => show("The connection is lost. Trying again …", "note"));
socket.on("said", ({name, text}) => show(`${name}: ${text}`, ""));
socket.on("entered", ({name}) => show(`${name} came in.`, "note"));
socket.on("left", ({name}) => show(`${name} left.`, "note"));

element("name").oninput = () => element("name").setCustomValidity("");
element("enter").onsubmit = (event) => {
  event.preventDefault();
  socket.auth = {name: element("name").value};
  socket.connect();
};
element("say").onsubmit = (event) => {
  event.preventDefault();
  socket.emit("say", element("text").value);
  element("say").reset();
};
