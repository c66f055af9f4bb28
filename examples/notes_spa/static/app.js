import { h, render } from "./vendor/preact.min.js";
import { useEffect, useState } from "./vendor/hooks.min.js";
import htm from "./vendor/htm.min.js";

const html = htm.bind(h);
const app = document.querySelector("#app");
const root = app.dataset.root; // the path of the app, such as "/"
const path = () => location.pathname.slice(root.length);

function go(to) {
  history.pushState(null, "", root + to);
  dispatchEvent(new Event("popstate"));
}

function Link({ to, children }) {
  const follow = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a new tab
    event.preventDefault();
    go(to);
  };
  return html`<a href=${root + to} onClick=${follow}>${children}</a>`;
}

async function api(to, method = "GET", body = undefined, etag = undefined) {
  const headers = {};
  if (body) headers["content-type"] = "application/json";
  if (etag) headers["if-match"] = etag;
  const sent = { method, headers, body: body && JSON.stringify(body) };
  const response = await fetch(`${root}api/${to}`, sent);
  const content = response.status === 204 ? null : await response.json();
  if (!response.ok) throw new Error(content.error);
  return { content, etag: response.headers.get("etag") };
}

function List() {
  const [notes, setNotes] = useState([]);
  const [said, say] = useState("Loading the notes.");
  const show = ({ content }) => {
    setNotes(content);
    say(content.length ? "" : "There are no notes yet.");
  };
  useEffect(() => void api("notes").then(show, (error) => say(error.message)), []);
  return html`<h1>Notes</h1>
    <p><${Link} to="new">New note<//></p>
    <p role="status">${said}</p>
    <ul>${notes.map((note) => html`<li key=${note.id}>
      <${Link} to=${`notes/${note.id}`}>${note.title}<//></li>`)}</ul>`;
}

function Note({ id }) {
  const [note, setNote] = useState(id ? null : { title: "", text: "" });
  const [said, say] = useState("");
  const show = ({ content, etag }, message) => {
    setNote({ ...content, etag });
    say(message);
  };
  const attempt = (action) => action().catch((error) => say(error.message));
  const load = () => attempt(async () => show(await api(`notes/${id}`), ""));
  useEffect(() => void (id && load()), [id]);
  const change = ({ target }) => setNote({ ...note, [target.name]: target.value });
  const save = (event) => {
    event.preventDefault();
    attempt(async () => {
      const body = { title: note.title, text: note.text };
      if (id) show(await api(`notes/${id}`, "PUT", body, note.etag), "Saved.");
      else go(`notes/${(await api("notes", "POST", body)).content.id}`);
    });
  };
  const remove = () => attempt(async () => {
    await api(`notes/${id}`, "DELETE");
    go("");
  });
  return html`<h1>${id ? "Note" : "New note"}</h1>
    <p role="status">${said}</p>
    ${note && html`<form class="card" onSubmit=${save}>
      <label for="title">Title</label>
      <input id="title" name="title" value=${note.title} onInput=${change}
        maxlength="100" required />
      <label for="text">Text</label>
      <textarea id="text" name="text" rows="8" value=${note.text} onInput=${change}
        maxlength="10000" />
      <button>Save</button>
    </form>`}
    ${id && note && html`<div class="row">
      <button class="plain" onClick=${load}>Load again</button>
      <button class="plain" onClick=${remove}>Delete</button></div>`}`;
}

function Page() {
  const [here, setHere] = useState(path());
  useEffect(() => addEventListener("popstate", () => setHere(path())), []);
  const id = here.match(/^notes\/(\d+)$/)?.[1];
  if (here === "") return html`<${List} />`;
  if (here === "new" || id) return html`<${Note} key=${id} id=${id} />`;
  return html`<h1>There is no such page</h1>`;
}

render(html`<header><${Link} to="">Notes<//></header><main><${Page} /></main>`, app);
