/** The card that signs a person up or in, wherever it is needed. */

import { signIn, signUp } from "../core/api.js";
import { LecternError, codeOf } from "../core/errors.js";
import { sentence, t } from "../core/strings.js";
import { el } from "./dom.js";
import { languageSwitch } from "./language.js";

/** @typedef {import("../core/api.js").User} User */

export const PASSWORD_CHARACTERS_MIN = 8;
export const PASSWORD_CHARACTERS_MAX = 256;
export const NAME_CHARACTERS_MAX = 100;

/**
 * @param {{role: "teacher" | "student", lead?: string, onSigned: (user: User) => void}} options
 *   `role` is chosen at first
 */
export function signCard({ role, lead, onSigned }) {
  let creating = true;
  const error = el("p", { class: "form__error", role: "alert" });
  const nameField = field("name", t("sign.name"), {
    autocomplete: "name",
    maxLength: NAME_CHARACTERS_MAX,
    placeholder: t("sign.nameHint"),
  });
  const roleField = roles(role);
  const passwordField = field("password", t("sign.password"), {
    type: "password",
    maxLength: PASSWORD_CHARACTERS_MAX,
  });
  const submit = el("button", { type: "submit", class: "button button--primary button--wide" });
  const form = el(
    "form",
    { class: "form", method: "post", noValidate: false },
    nameField,
    field("email", t("sign.email"), { type: "email", autocomplete: "email", maxLength: 254 }),
    passwordField,
    roleField,
    error,
    submit,
  );
  const up = tab(t("sign.up"), () => turn(true));
  const signed = tab(t("sign.in"), () => turn(false));

  /** @param {boolean} toCreating */
  function turn(toCreating) {
    creating = toCreating;
    nameField.hidden = roleField.hidden = !creating;
    input(nameField).required = creating;
    input(nameField).disabled = !creating;
    const password = input(passwordField);
    password.autocomplete = creating ? "new-password" : "current-password";
    password.minLength = creating ? PASSWORD_CHARACTERS_MIN : 0;
    password.placeholder = creating ? t("sign.passwordHint") : "";
    submit.textContent = creating ? t("sign.doUp") : t("sign.doIn");
    up.setAttribute("aria-pressed", String(creating));
    signed.setAttribute("aria-pressed", String(!creating));
    error.textContent = "";
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const data = new FormData(form);
    const text = (/** @type {string} */ key) => String(data.get(key) ?? "");
    submit.disabled = true;
    submit.textContent = t("sign.working");
    try {
      const credentials = { email: text("email").trim(), password: text("password") };
      onSigned(
        creating
          ? await signUp({ ...credentials, name: text("name").trim(), role: text("role") })
          : await signIn(credentials),
      );
    } catch (thrown) {
      const detail = thrown instanceof LecternError ? thrown.detail : "";
      turn(creating && codeOf(thrown) !== "email_taken");
      // In a form, "not signed in" can only mean that these are not the right words.
      const code = codeOf(thrown) === "not_signed_in" ? "wrong_credentials" : codeOf(thrown);
      error.textContent = sentence(code, detail);
    } finally {
      submit.disabled = false;
    }
  });

  turn(true);
  return el(
    "section",
    { class: "card card--sign" },
    lead ? el("p", { class: "card__lead" }, lead) : null,
    el("div", { class: "tabs", role: "group" }, up, signed),
    form,
    languageSwitch(),
  );
}

/**
 * @param {string} label
 * @param {() => void} onclick
 */
function tab(label, onclick) {
  return el("button", { type: "button", class: "tabs__tab", onclick }, label);
}

/**
 * @param {string} name
 * @param {string} label
 * @param {Record<string, unknown>} properties of the input
 */
export function field(name, label, properties) {
  return el(
    "label",
    { class: "field" },
    el("span", { class: "field__label" }, label),
    el("input", { class: "field__input", name, required: true, ...properties }),
  );
}

/** @param {HTMLElement} labelled */
function input(labelled) {
  return /** @type {HTMLInputElement} */ (labelled.querySelector("input"));
}

/** @param {"teacher" | "student"} chosen */
export function roles(chosen) {
  const choice = (/** @type {"teacher" | "student"} */ role) =>
    el(
      "label",
      { class: "choice" },
      el("input", { type: "radio", name: "role", value: role, checked: role === chosen }),
      el("span", {}, t(`sign.${role}`)),
    );
  return el(
    "fieldset",
    { class: "choices" },
    el("legend", { class: "field__label" }, t("sign.role")),
    choice("teacher"),
    choice("student"),
  );
}
