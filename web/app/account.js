/** The page on which a person changes, takes along or deletes the account. */

import * as api from "../core/api.js";
import { codeOf } from "../core/errors.js";
import { sentence, t } from "../core/strings.js";
import { sessions, tokens } from "./account_access.js";
import { button, el, show } from "./dom.js";
import { account, frame, notice } from "./frame.js";
import { form, part, sentenceOf } from "./parts.js";
import { NAME_CHARACTERS_MAX, PASSWORD_CHARACTERS_MAX, PASSWORD_CHARACTERS_MIN, field, roles } from "./sign_in.js";

/** @typedef {import("../core/api.js").User} User */

async function open() {
  let user;
  try {
    user = await api.me();
  } catch (error) {
    const title = t("error.title");
    frame({ title, main: [notice({ title, text: sentence(codeOf(error)), tone: "bad" })] });
    return;
  }
  if (user === null) {
    location.replace("/");
    return;
  }
  frame({ title: t("account.title"), bar: [account(user)], main: [panel(user)], foot: true });
}

/** @param {User} user */
function panel(user) {
  return el(
    "section",
    { class: "panel", id: "account", "aria-labelledby": "account-title" },
    el("h1", { class: "panel__title", id: "account-title" }, t("account.title")),
    user.email ? el("p", { class: "hint" }, t("account.signedInAs", { email: user.email })) : null,
    user.is_operator ? el("p", {}, el("a", { href: "/operator" }, t("ops.yours"))) : null,
    profile(user),
    password(user),
    sessions(),
    tokens(),
    data(),
  );
}

/** @param {User} user */
function profile(user) {
  const act = async (/** @type {FormData} */ data) => {
    const role = String(data.get("role"));
    const changed = await api.changeMe({ name: String(data.get("name")), role });
    // The page is another one for another role, and the name stands in the bar.
    if (changed.role !== user.role || changed.name !== user.name) location.reload();
    return t("account.saved");
  };
  const name = field("name", t("sign.name"), {
    value: user.name,
    autocomplete: "name",
    maxLength: NAME_CHARACTERS_MAX,
  });
  return part(t("account.profile"), form("", t("account.save"), act, name, roles(user.role)));
}

/** @param {User} user */
function password(user) {
  const act = async (/** @type {FormData} */ data, /** @type {HTMLFormElement} */ made) => {
    await api.changeMe({
      password: String(data.get("password")),
      current_password: String(data.get("current_password")),
    });
    made.reset();
    return t("account.passwordSaved");
  };
  return part(
    t("account.password"),
    el("p", { class: "hint" }, t("account.passwordHint")),
    form(
      "",
      t("account.password"),
      act,
      // So that password managers know whose it is.
      el("input", {
        type: "email",
        name: "email",
        autocomplete: "username",
        value: user.email,
        hidden: true,
        readOnly: true,
      }),
      field("current_password", t("account.currentPassword"), {
        type: "password",
        autocomplete: "current-password",
        maxLength: PASSWORD_CHARACTERS_MAX,
      }),
      field("password", t("account.newPassword"), {
        type: "password",
        autocomplete: "new-password",
        minLength: PASSWORD_CHARACTERS_MIN,
        maxLength: PASSWORD_CHARACTERS_MAX,
      }),
    ),
  );
}

function data() {
  const error = el("p", { class: "form__error", role: "alert" });
  const ask = button(t("account.delete"), () => turn(true), { kind: "danger" });
  const keep = button(t("account.deleteNo"), () => turn(false));
  const asked = el(
    "div",
    { class: "box part", role: "group", "aria-label": t("account.delete"), hidden: true },
    el("p", {}, t("account.deleteAsk")),
    el(
      "div",
      { class: "part__actions" },
      keep,
      button(t("account.deleteYes"), remove, { kind: "danger" }),
    ),
  );

  /** @param {boolean} asking */
  function turn(asking) {
    error.textContent = "";
    show(asked, asking);
    show(ask, !asking);
    (asking ? keep : ask).focus();
  }

  async function remove() {
    try {
      await api.deleteMe();
      location.assign("/");
    } catch (thrown) {
      turn(false);
      error.textContent = sentenceOf(thrown);
    }
  }

  return part(
    t("account.data"),
    el(
      "div",
      { class: "part__actions" },
      el("a", { class: "button", href: api.EXPORT_URL, download: "" }, t("account.export")),
      ask,
    ),
    asked,
    error,
  );
}

void open();
