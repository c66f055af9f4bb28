const upload = document.querySelector("#upload");
const bar = upload.querySelector("progress");
const uploadProblem = document.querySelector("#upload-problem");

upload.addEventListener("submit", (event) => {
  event.preventDefault();
  const request = new XMLHttpRequest(); // fetch does not tell how much has been sent
  request.upload.addEventListener("progress", ({ loaded, total }) => { bar.value = loaded / total; });
  request.addEventListener("load", () => done(request.status < 400 ? "" : request.responseText));
  request.addEventListener("error", () => done("The connection broke off. Please try again."));
  request.open("POST", upload.action);
  request.send(new FormData(upload));
  uploadProblem.textContent = "";
  bar.hidden = false;
  bar.value = 0;
});

function done(text) {
  uploadProblem.textContent = text;
  bar.hidden = true;
  if (!text) upload.reset(); // the picture itself comes as an event, here as to everybody else
}
