// Reads app.json as Heroku describes it: defaults of environment variables, wanted sizes, buildpack hints, and what to run once after the first
// release. Other programs keep their own app.json (Expo does): without one of these keys the file is not ours.
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import type { Command } from "@berth/contract/spec.ts";
import { commandOf } from "./command.ts";
import type { Kind, Notes } from "./draft.ts";
import { dig, digText, isFields, readJson, type Fields, type Look } from "./source.ts";

export interface AppJson {
  readonly file: string;
  readonly app: NonNullable<BuildPlan["app"]>;
  /** What its buildpacks build, in their order. */
  readonly languages: readonly Kind[];
}

type AppEnv = NonNullable<BuildPlan["app"]>["env"];

const languagesOf: Readonly<Record<string, Kind>> = {
  nodejs: "node",
  python: "python",
  go: "go",
  java: "java",
  gradle: "java",
  jvm: "java",
  php: "php",
  ruby: "ruby",
  rust: "rust",
  static: "static",
  nginx: "static",
};

export function readAppJson(look: Look, notes: Notes): AppJson | undefined {
  const parsed = readJson(look, "app.json");
  const file = look.label("app.json");
  if (parsed === undefined) return undefined;
  if (!parsed.ok) {
    notes.warn("file_unreadable", { file, reason: parsed.reason });
    return undefined;
  }
  const ours = ["env", "formation", "buildpacks", "scripts", "addons", "environments"].some((key) => Object.hasOwn(parsed.value, key));
  if (!ours) return undefined;
  notes.found(file, "declares variables, sizes or scripts of the application");
  const addons = addonsOf(parsed.value);
  if (addons.length > 0) notes.warn("addons_not_made", { file, addons: addons.join(", ") });
  const postdeploy = commandIn(dig(parsed.value, "scripts", "postdeploy"));
  const app = { env: envOf(parsed.value), formation: formationOf(parsed.value), ...(postdeploy === undefined ? {} : { postdeploy }) };
  return { file, app, languages: buildpackLanguages(parsed.value) };
}

function envOf(value: Fields): AppEnv {
  const env = dig(value, "env");
  if (!isFields(env)) return {};
  return Object.fromEntries(
    Object.entries(env).flatMap(([name, entry]): [string, AppEnv[string]][] => {
      if (!/^[A-Za-z_][A-Za-z0-9_]{0,254}$/.test(name) || name === "__proto__") return [];
      if (typeof entry === "string") return [[name, { value: entry, required: true, generate: false }]];
      const preset = digText(entry, "value");
      const description = digText(entry, "description");
      return [
        [
          name,
          {
            required: dig(entry, "required") !== false,
            generate: dig(entry, "generator") === "secret",
            ...(preset === undefined ? {} : { value: preset }),
            ...(description === undefined ? {} : { description }),
          },
        ],
      ];
    }),
  );
}

function formationOf(value: Fields): Record<string, { quantity: number }> {
  const formation = dig(value, "formation");
  if (!isFields(formation)) return {};
  return Object.fromEntries(
    Object.entries(formation).flatMap(([name, entry]): [string, { quantity: number }][] => {
      const quantity = dig(entry, "quantity") ?? 1;
      const usable = typeof quantity === "number" && Number.isInteger(quantity) && quantity >= 0 && quantity <= 1000;
      return usable && /^[A-Za-z0-9_-]{1,63}$/.test(name) && name !== "__proto__" ? [[name, { quantity }]] : [];
    }),
  );
}

/** `scripts.postdeploy` is a line, or a table with `command`. */
function commandIn(value: unknown): Command | undefined {
  const line = typeof value === "string" ? value : digText(value, "command");
  return line === undefined || line.trim() === "" ? undefined : commandOf(line);
}

function addonsOf(value: Fields): string[] {
  const addons = dig(value, "addons");
  if (!Array.isArray(addons)) return [];
  return addons.map((addon) => (typeof addon === "string" ? addon : digText(addon, "plan"))).filter((name) => name !== undefined);
}

function buildpackLanguages(value: Fields): Kind[] {
  const buildpacks = dig(value, "buildpacks");
  if (!Array.isArray(buildpacks)) return [];
  return buildpacks.flatMap((item) => {
    const url = digText(item, "url") ?? "";
    const name = /(?:buildpack-|^heroku\/|\/)([a-z]+?)(?:-cnb)?(?:\.git)?(?:#.*)?$/.exec(url)?.[1] ?? "";
    const kind = Object.hasOwn(languagesOf, name) ? languagesOf[name] : undefined;
    return kind === undefined ? [] : [kind];
  });
}
