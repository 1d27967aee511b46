import js from "@eslint/js";
import globals from "globals";

export default [
  { ignores: ["web/vendor/**", "node_modules/**"] },
  js.configs.recommended,
  {
    files: ["web/**/*.js", "tests/browser/pages/*.js"],
    languageOptions: { ecmaVersion: 2024, sourceType: "module", globals: globals.browser },
    rules: {
      eqeqeq: ["error", "always", { null: "ignore" }],
      "no-console": "error",
      "no-var": "error",
      "prefer-const": "error",
      "no-unused-vars": ["error", { argsIgnorePattern: "^_" }],
    },
  },
  {
    // What is protocol knows no page; the arrow goes from app to core only.
    files: ["web/core/*.js"],
    rules: {
      "no-restricted-globals": ["error", "document", "window", "localStorage", "location"],
      "no-restricted-imports": ["error", { patterns: ["**/app/*"] }],
    },
  },
];
