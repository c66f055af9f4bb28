const poll = document.querySelector("#poll");
const pictures = document.querySelector("#pictures");
const state = document.querySelector("#state");
let shown = "";

function listen() {
  const events = new EventSource("events");
  events.addEventListener("message", show);
  events.addEventListener("error", () => {
    state.textContent = "The connection is lost. Trying again …";
    // The browser connects again by itself. But if a proxy answers that the server is
    // down, the browser gives up, and a new EventSource is needed.
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
  });
}

function show(event) {
  const { votes, pictures: latest } = JSON.parse(event.data);
  const all = Object.values(votes).reduce((sum, count) => sum + count, 0);
  poll.style.setProperty("--all", all);
  for (const row of poll.querySelectorAll(".pie")) {
    row.style.setProperty("--votes", votes[row.dataset.pie]);
    row.querySelector(".votes").textContent = votes[row.dataset.pie];
  }
  state.textContent = `Votes so far: ${all}, counted live`;
  showPictures(latest);
}

function showPictures(latest) {
  if (JSON.stringify(latest) === shown) return; // a vote changes no picture
  shown = JSON.stringify(latest);
  pictures.replaceChildren(...latest.map(({ name, description }) => {
    const item = document.createElement("li");
    const image = new Image();
    image.src = `picture/${name}`;
    image.alt = ""; // the description stands below it
    item.append(image, description);
    return item;
  }));
}

listen();
