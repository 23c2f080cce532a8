// `${VAR}` in the values of a Compose file, with Compose's semantics. Expansion is bounded; a variable's value is never expanded again.
// Source: the interpolation chapter of the Compose specification.

/** undefined = not set. `bare`: used without a default or a message, so that a missing value goes unnoticed unless somebody says so. */
export type Lookup = (name: string, bare?: boolean) => string | undefined;
export type Interpolated =
  { readonly ok: true; readonly text: string } | { readonly ok: false; readonly reason: string; readonly hint: string };

/** What one file may still grow by; shared by all of its values, so that no chain of variables can fill the memory. */
export interface Budget {
  characters: number;
}
export const newBudget = (): Budget => ({ characters: 4_194_304 });

const deepestDefault = 50;
const nameStart = /[A-Za-z_]/;
const namePart = /[A-Za-z0-9_]/;
class Refusal extends Error {
  readonly hint: string;
  constructor(reason: string, hint: string) {
    super(reason);
    this.hint = hint;
  }
}

/** Replaces `$NAME`, `${NAME}`, `${NAME:-x}`, `-`, `:?`, `?`, `:+`, `+` (nested in the word) and `$$`. A `$` before anything else but `{` stays. */
export function interpolate(template: string, lookup: Lookup, budget: Budget = newBudget()): Interpolated {
  if (!template.includes("$")) return { ok: true, text: template };
  try {
    return { ok: true, text: expand(template, lookup, budget, 0) };
  } catch (error) {
    if (error instanceof Refusal) return { ok: false, reason: error.message, hint: error.hint };
    throw error;
  }
}

function expand(template: string, lookup: Lookup, budget: Budget, depth: number): string {
  if (depth > deepestDefault) throw new Refusal(`defaults are nested more than ${deepestDefault} deep`, "");
  const out: string[] = [];
  let index = 0;
  while (index < template.length) {
    const dollar = template.indexOf("$", index);
    out.push(template.slice(index, dollar === -1 ? undefined : dollar));
    if (dollar === -1) break;
    const next = template[dollar + 1] ?? "";
    if (next === "{") {
      const end = closingBrace(template, dollar + 1);
      out.push(spend(braced(template.slice(dollar + 2, end), lookup, budget, depth), budget));
      index = end + 1;
    } else if (nameStart.test(next)) {
      const end = nameEnd(template, dollar + 1);
      out.push(spend(lookup(template.slice(dollar + 1, end), true) ?? "", budget));
      index = end;
    } else {
      out.push("$");
      index = dollar + (next === "$" ? 2 : 1);
    }
  }
  return out.join("");
}

function spend(text: string, budget: Budget): string {
  budget.characters -= text.length;
  if (budget.characters < 0) throw new Refusal("its variables expand to more than 4 MiB", "");
  return text;
}

/** The inside of `${...}`. */
function braced(inside: string, lookup: Lookup, budget: Budget, depth: number): string {
  const end = nameEnd(inside, 0);
  const name = inside.slice(0, end);
  const operator = /^:?[-?+]/.exec(inside.slice(end, end + 2))?.[0] ?? "";
  if (name === "" || !nameStart.test(name[0] ?? "") || (operator === "" && end < inside.length))
    throw new Refusal(`\`\${${shorten(inside)}}\` is not a variable`, "Write `$$` for a dollar sign that is meant as one.");
  const word = () => expand(inside.slice(end + operator.length), lookup, budget, depth + 1);
  const value = lookup(name, operator === "");
  const present = value !== undefined && !(operator.startsWith(":") && value === "");
  switch (operator) {
    case "":
      return value ?? "";
    case ":-":
    case "-":
      return present ? value : word();
    case ":+":
    case "+":
      return present ? word() : "";
    default: {
      if (present) return value;
      const message = word();
      throw new Refusal(
        `the variable ${name} has to be set${message === "" ? "" : `: ${message}`}`,
        `Set it in your shell or in .env: \`${name}=...\`.`,
      );
    }
  }
}

function nameEnd(text: string, from: number): number {
  let end = from;
  while (end < text.length && namePart.test(text[end] ?? "")) end += 1;
  return end;
}

/** Braces inside the word count too, so that a default may be JSON. */
function closingBrace(text: string, open: number): number {
  let depth = 0;
  for (let index = open; index < text.length; index += 1) {
    if (text[index] === "{") depth += 1;
    else if (text[index] === "}" && (depth -= 1) === 0) return index;
  }
  throw new Refusal(`\`$${shorten(text.slice(open))}\` is not closed`, "Write `$$` for a dollar sign that is meant as one.");
}

function shorten(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}...` : text;
}
