// An engine's options, from their JSON schema.
import { make } from "./common.js";
import { chosen, said } from "./words.js";

// Those that suit. kept: an avatar's own, in place of the defaults.
export function showControls(place, engine, suits, kept = {}) {
  const names = Object.keys(engine.options ?? {}).filter(suits);
  place.replaceChildren(...names.map((name) => control(engine, name, name in kept ? kept[name] : engine.options[name].default)));
}

function control(engine, name, usual) {
  const named = () => engine.labels[chosen()]?.[name] ?? name.replaceAll("_", " ");
  const label = make("label", {}, named()), hint = make("small"), schema = engine.options[name];
  const isInteger = schema.type === "integer", isNumber = isInteger || schema.type === "number", isBoolean = schema.type === "boolean";
  const styles = name === "style" && engine.styles.length && [...new Set([usual ?? "", ...engine.styles])].filter(Boolean);
  const choices = isBoolean ? [false, true] : schema.enum || styles;
  let field;
  if (choices) {
    field = make("select", {}, ...choices.map((one) => new Option(one, one)));
    field.read = () => (isBoolean ? field.value === "true" : field.value);
  } else {
    const isRange = isNumber && schema.maximum - schema.minimum <= 100;
    field = make("input", {
      type: isRange ? "range" : isNumber ? "number" : "text", placeholder: usual ?? "–",
      min: schema.minimum ?? "", max: schema.maximum ?? "",
      step: schema.multipleOf ?? (isInteger ? 1 : isRange ? 0.05 : "any"),
    });
    field.read = () => (field.value === "" ? null : isNumber ? Number(field.value) : field.value);
    if (isRange) {
      const shown = make("output", { textContent: usual });
      field.oninput = () => { shown.textContent = field.value; };
      label.append(shown);
    }
  }
  field.value = usual ?? "";
  field.dataset.option = name;
  field.first = field.read();
  (field.rename = () => {
    label.firstChild.data = named();
    hint.textContent = said(schema.description);
    for (const one of field.options ?? []) one.text = said(one.value);
  })();
  label.append(field, hint);
  return label;
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
