const element = (id) => document.getElementById(id);
const members = new Set();
// Kept for this tab, so that the server knows the visitor who comes back under a name.
const key = sessionStorage.chatKey ??= crypto.getRandomValues(new BigUint64Array(2)).join("-");
let socket;
let wait = 500;

function show(text, kind) {
  const line = Object.assign(document.createElement("p"), {className: kind});
  line.textContent = text;  // never innerHTML, since other people have written it
  element("log").append(line);
  line.scrollIntoView({block: "nearest"});
}

const hear = {  // a function for each type of message
  welcome({members: names, history}) {
    wait = 500;
    element("send").disabled = element("chat").hidden = false;
    element("enter").hidden = true;
    element("log").replaceChildren();
    history.forEach((message) => hear[message.type](message));
    show("You are here.", "note");
    members.clear();
    names.forEach((name) => members.add(name));
  },
  message({name, text}) { show(`${name}: ${text}`, ""); },
  entered({name}) { members.add(name); show(`${name} came in.`, "note"); },
  left({name}) { members.delete(name); show(`${name} left.`, "note"); },
};

function connect(room, name) {
  const url = new URL(document.body.dataset.chat + encodeURIComponent(room), location.href);
  url.protocol = url.protocol.replace("http", "ws");
  socket = new WebSocket(url);
  socket.onopen = () => socket.send(JSON.stringify({type: "enter", name, key}));
  socket.onmessage = ({data}) => {
    const message = JSON.parse(data);
    hear[message.type]?.(message);
    element("members").textContent = `In ${room}: ${[...members].sort().join(", ")}`;
  };
  socket.onclose = ({code, reason}) => {
    element("send").disabled = true;
    if (code < 4000) {
      show("The connection is lost. Trying again …", "note");
      setTimeout(() => connect(room, name), wait = Math.min(wait * 2, 15000));
      return;
    }
    element("chat").hidden = true;
    element("enter").hidden = false;
    element("name").setCustomValidity(reason);  // refused, or connected elsewhere
    element("name").reportValidity();
  };
}

element("name").oninput = () => element("name").setCustomValidity("");
element("enter").onsubmit = (event) => {
  event.preventDefault();
  connect(element("room").value, element("name").value);
};
element("say").onsubmit = (event) => {
  event.preventDefault();
  socket.send(JSON.stringify({type: "say", text: element("text").value}));
  element("say").reset();
};
