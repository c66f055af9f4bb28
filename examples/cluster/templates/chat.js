const element = (id) => document.getElementById(id);
const tell = (text) => { element("state").textContent = text; };
const {chat, events} = element("log").dataset;
const unsure = new Map();  // what is sent, and not acknowledged, by key
let last = "";  // the id of the last message
let wait = 500;
let socket;

function show(...parts) {
  const line = document.createElement("p");
  line.append(...parts);  // never innerHTML, since other people have written it
  element("log").append(line);
  line.scrollIntoView({block: "nearest"});
}

function made(tag, text) {
  return Object.assign(document.createElement(tag), {textContent: text});
}

const hear = {  // a function for each type of event
  present({names}) { element("present").textContent = names.join(", ") || "No one is here."; },
  start() {},
  gap() { show(made("em", "Some messages are missing here.")); },
  message({id, name, text}) {
    const time = new Date(Number.parseInt(id)).toTimeString().slice(0, 5);
    show(made("time", time), made("strong", name), ` ${text}`);
  },
  stored({key}) { unsure.delete(key); },
  refused({key, text}) {
    element("text").value ||= unsure.get(key) ?? "";
    unsure.delete(key);
    tell(text);
  },
};

function take({data}) {
  const event = JSON.parse(data);
  if (event.id && event.type !== "stored") last = event.id;
  hear[event.type]?.(event);
}

function opened() {
  wait = 500;
  tell("Connected.");
}

// Not all in the same moment, if a server with many clients has gone.
function again(connect) {
  tell("The connection is lost. Trying again …");
  setTimeout(connect, wait * (0.5 + Math.random()));
  wait = Math.min(wait * 2, 15000);
}

const from = (path) => new URL(`${path}?last=${encodeURIComponent(last)}`, location.href);

function join() {
  const url = from(chat);
  url.protocol = url.protocol.replace("http", "ws");
  socket = new WebSocket(url);
  socket.onopen = () => {
    opened();
    unsure.forEach(send);
  };
  socket.onmessage = take;
  socket.onclose = ({code, reason}) => code < 4000 ? again(join) : tell(reason);
}

function send(text, key) {
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({type: "say", key, text}));
}

// An EventSource connects again by itself, and sends the id of the last event that it got.
// But an answer that is not 200, for example a proxy's 502, closes it for good.
function watch() {
  const source = new EventSource(from(events));
  source.onopen = opened;
  source.onmessage = take;
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) again(watch);
    else tell("The connection is lost. Trying again …");
  };
}

if (element("say")) {
  join();
  element("say").onsubmit = (event) => {
    event.preventDefault();
    const key = crypto.getRandomValues(new BigUint64Array(2)).join("-");
    unsure.set(key, element("text").value);
    send(element("text").value, key);
    element("say").reset();
  };
} else {
  watch();
}
