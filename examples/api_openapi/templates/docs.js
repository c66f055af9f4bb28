// Shows an OpenAPI document: a form for each operation, made of DOM nodes, never of markup.
const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};

const field = (name, label, properties, tag = "input") => {
  const input = element(tag, { name, ...properties });
  return [element("label", {}, label, input), input];
};

// Returns a value that fits a schema, to start from.
function sample(schema, all) {
  const found = schema.$ref ? all[schema.$ref.split("/").pop()] : schema;
  const kind = found.anyOf?.[0] ?? found;
  if (kind !== found) return sample(kind, all);
  const properties = Object.entries(found.properties ?? {});
  const made = {
    object: () => Object.fromEntries(properties.map(([key, one]) => [key, sample(one, all)])),
    array: () => [],
    integer: () => found.minimum ?? 1,
    number: () => found.minimum ?? 1,
    boolean: () => false,
  }[found.type];
  return found.default ?? found.enum?.[0] ?? found.const ?? (made ? made() : "text");
}

function operation(base, path, method, described, all) {
  const place = `${method} ${path}`.replace(/\W+/g, "-");
  const inputs = described.parameters.map((one) => {
    const { default: value = "" } = one.schema;
    const type = ["integer", "number"].includes(one.schema.type) ? "number" : "text";
    const label = `${one.name} (${one.in})`;
    return [one, ...field(one.name, label, { type, value, required: one.required })];
  });
  const [content] = Object.values(described.requestBody?.content ?? {});
  const value = content && JSON.stringify(sample(content.schema, all), null, 2);
  const [label, body] = content ? field("body", "Body", { value, rows: 6 }, "textarea") : [];
  const answer = element("pre", { ariaLive: "polite" });
  const form = element("form", {}, ...inputs.map(([, one]) => one));
  form.append(...(label ? [label] : []), element("button", {}, "Send"), answer);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    let url = base + path;
    const query = new URLSearchParams();
    for (const [one, , input] of inputs)
      if (one.in === "path") url = url.replace(`{${one.name}}`, encodeURIComponent(input.value));
      else if (input.value) query.set(one.name, input.value);
    const sent = { method: method.toUpperCase(), body: body?.value };
    if (body) sent.headers = { "content-type": "application/json" };
    const response = await fetch(query.size ? `${url}?${query}` : url, sent);
    answer.textContent = `${response.status} ${response.statusText}\n${await response.text()}`;
  });
  const title = element("summary", {}, `${method.toUpperCase()} ${path}`);
  const statuses = Object.entries(described.responses).map(
    ([status, one]) => element("li", {}, `${status} ${one.description}`));
  return element("details", { id: place }, title,
    element("p", {}, described.summary), element("p", {}, described.description ?? ""),
    element("ul", {}, ...statuses), form);
}

fetch(document.body.dataset.document).then((response) => response.json()).then((all) => {
  const { title, version } = all.info;
  document.querySelector("h1").textContent = document.title = `${title} ${version}`;
  for (const [path, operations] of Object.entries(all.paths))
    for (const [method, described] of Object.entries(operations))
      document.querySelector("main").append(
        operation(all.servers[0].url, path, method, described, all.components.schemas));
});
