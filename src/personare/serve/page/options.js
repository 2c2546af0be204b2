// An engine's options, from their JSON schema.
import { make } from "./common.js";
import { chosen, said } from "./words.js";

// kept: an avatar's own, in place of the defaults.
export function controls(engine, names, kept = {}) {
  return names.map((name) => control(name, { ...engine.options[name], ...(name in kept && { default: kept[name] }) }, name === "style" ? engine.styles : [], engine.labels));
}

function control(name, schema, choices, labels = {}) {
  const named = () => labels[chosen()]?.[name] ?? name.replaceAll("_", " ");
  const title = make("span", {}, named()), hint = make("small");
  const number = ["number", "integer"].includes(schema.type);
  let field;
  if (schema.type === "boolean") {
    field = select(["false", "true"], String(schema.default));
    field.read = () => field.value === "true";
  } else if (schema.enum || choices.length) {
    field = select(schema.enum ?? [...new Set([schema.default, ...choices])].filter((one) => one != null), schema.default);
    field.read = () => field.value;
  } else if (number && schema.maximum - schema.minimum <= 100) {
    const shown = make("output"), steps = schema.type === "integer" ? schema.multipleOf ?? 1 : 0.05;
    field = make("input", { type: "range", min: schema.minimum, max: schema.maximum, step: steps });
    field.value = schema.default;
    shown.textContent = field.value;
    field.oninput = () => { shown.textContent = field.value; };
    title.append(shown);
    field.read = () => Number(field.value);
  } else {
    field = make("input", { type: number ? "number" : "text", value: schema.default ?? "" });
    if (number) Object.assign(field, { min: schema.minimum ?? "", max: schema.maximum ?? "", step: schema.multipleOf ?? (schema.type === "integer" ? 1 : "any") });
    else field.placeholder = schema.default ?? "–";
    field.read = () => (field.value === "" ? null : number ? Number(field.value) : field.value);
  }
  field.dataset.option = name;
  field.first = field.read();
  (field.rename = () => {
    title.firstChild.data = named();
    hint.textContent = said(schema.description);
    for (const one of field.options ?? []) one.text = said(one.value);
  })();
  return make("label", {}, title, field, hint);
}

function select(choices, value) {
  const field = make("select", {}, ...choices.map((one) => new Option(one, one)));
  field.value = value;
  return field;
}

export function rename() {
  for (const field of document.querySelectorAll("[data-option]")) field.rename();
}

// What differs from the defaults: the service knows the rest.
export function values(...places) {
  const found = {};
  for (const place of places)
    for (const field of place.querySelectorAll("[data-option]"))
      if (field.read() !== field.first) found[field.dataset.option] = field.read();
  return found;
}
