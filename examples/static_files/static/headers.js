// Asks for each file of the table again, and writes down what it was sent with.
for (const row of document.querySelectorAll("tr[data-url]")) {
  const response = await fetch(row.dataset.url);
  row.cells[1].textContent = response.headers.get("cache-control");
}
