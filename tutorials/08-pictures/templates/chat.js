const TOO_OLD = 4403; // the close code of a chat without a session, as in app.py
const messages = document.querySelector("#messages");
const say = document.querySelector("#say");
const send = say.querySelector("button"); // disabled while there is no connection
const problem = document.querySelector("#chat-problem");
let socket;

function connect() {
  const address = new URL("chat", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  address.search = address.hash = "";
  socket = new WebSocket(address);
  socket.addEventListener("open", () => {
    messages.replaceChildren(); // the server sends the last messages again
    problem.textContent = "";
    send.disabled = false;
  });
  socket.addEventListener("message", (event) => show(JSON.parse(event.data)));
  socket.addEventListener("close", ({ code, reason }) => {
    send.disabled = true;
    if (code === TOO_OLD) {
      problem.textContent = reason;
      return;
    }
    problem.textContent = "The chat is not connected. Trying again …";
    setTimeout(connect, 2000);
  });
}

function show({ name, text }) {
  const item = document.createElement("li");
  const who = document.createElement("strong");
  who.textContent = name; // never innerHTML: a message is text, and not HTML
  item.append(who, ` ${text}`);
  messages.append(item);
  messages.scrollTop = messages.scrollHeight;
}

say.addEventListener("submit", (event) => {
  event.preventDefault();
  if (socket.readyState !== WebSocket.OPEN) return;
  socket.send(say.elements.text.value);
  say.reset();
});

connect();
