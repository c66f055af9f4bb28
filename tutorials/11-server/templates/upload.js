const upload = document.querySelector("#upload");
const bar = upload.querySelector("progress");
const uploadProblem = document.querySelector("#upload-problem");
const problems = {
  403: "This page is too old. Reload it, and send the picture again.",
  413: "This picture is too large. Please choose one of at most 5 MB.",
};

upload.addEventListener("submit", (event) => {
  event.preventDefault();
  const request = new XMLHttpRequest(); // fetch can't tell how much it has sent
  request.upload.addEventListener("progress", ({ loaded, total }) => {
    bar.value = loaded / total;
  });
  request.addEventListener("load", () => {
    const { status, responseText } = request;
    done(status < 400 ? "" : problems[status] ?? responseText);
  });
  request.addEventListener("error", () => {
    done("The connection broke off. Please try again.");
  });
  request.open("POST", upload.action);
  request.send(new FormData(upload));
  uploadProblem.textContent = "";
  bar.hidden = false;
  bar.value = 0;
});

function done(text) {
  uploadProblem.textContent = text;
  bar.hidden = true;
  if (!text) upload.reset(); // the picture itself comes as an event
}
