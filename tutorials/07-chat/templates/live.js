const poll = document.querySelector("#poll");
const state = document.querySelector("#state");
// The browser connects again by itself when the connection is lost.
const events = new EventSource("events");

events.addEventListener("message", (event) => {
  const { votes } = JSON.parse(event.data);
  const all = Object.values(votes).reduce((sum, count) => sum + count, 0);
  poll.style.setProperty("--all", all);
  for (const row of poll.querySelectorAll(".pie")) {
    row.style.setProperty("--votes", votes[row.dataset.pie]);
    row.querySelector(".votes").textContent = votes[row.dataset.pie];
  }
  state.textContent = `Votes so far: ${all}, counted live`;
});

events.addEventListener("error", () => {
  state.textContent = "The connection is lost. Trying again …";
});
