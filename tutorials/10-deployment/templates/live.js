const poll = document.querySelector("#poll");
const pictures = document.querySelector("#pictures");
const state = document.querySelector("#state");
const events = new EventSource("events"); // connects again by itself when the connection is lost

events.addEventListener("message", (event) => {
  const { votes, pictures: latest } = JSON.parse(event.data);
  const all = Object.values(votes).reduce((sum, count) => sum + count, 0);
  poll.style.setProperty("--all", all);
  for (const row of poll.querySelectorAll(".pie")) {
    row.style.setProperty("--votes", votes[row.dataset.pie]);
    row.querySelector(".votes").textContent = votes[row.dataset.pie];
  }
  state.textContent = `Votes so far: ${all}, counted live`;
  showPictures(latest);
});

function showPictures(latest) {
  const known = new Map([...pictures.children].map((item) => [item.firstElementChild.getAttribute("src"), item]));
  pictures.replaceChildren(...latest.map(({ name, description }) => {
    const address = `picture/${name}`;
    if (known.has(address)) return known.get(address);
    const item = document.createElement("li");
    item.append(Object.assign(new Image(), { src: address, alt: description }));
    return item;
  }));
}

events.addEventListener("error", () => {
  state.textContent = "The connection is lost. Trying again …";
});
