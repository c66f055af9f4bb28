const poll = document.querySelector("#poll");
const state = document.querySelector("#state");

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
  const { votes } = JSON.parse(event.data);
  const all = Object.values(votes).reduce((sum, count) => sum + count, 0);
  poll.style.setProperty("--all", all);
  for (const row of poll.querySelectorAll(".pie")) {
    row.style.setProperty("--votes", votes[row.dataset.pie]);
    row.querySelector(".votes").textContent = votes[row.dataset.pie];
  }
  state.textContent = `Votes so far: ${all}, counted live`;
}

listen();
