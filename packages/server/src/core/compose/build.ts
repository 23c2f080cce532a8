// `build` of a service: the folder of the project that is built, and how.
import type { BuildSpec } from "@berth/contract/spec.ts";
import type { Environment } from "./input.ts";
import { keyed } from "./merge.ts";
import { isRemote, normalise, outside } from "./paths.ts";
import { get, isNull, type Tree } from "./tree.ts";
import { readGrants } from "./secrets.ts";
import { checkKeys, complain, mappingOf, refuse, textOf, type Place } from "./values.ts";

export interface BuildPlace extends Place {
  readonly environment: Environment;
  /** What the top of the file calls a secret -> what the stack does. */
  readonly secrets: ReadonlyMap<string, string>;
}

export function readBuild(place: BuildPlace, tree: Tree | undefined): BuildSpec | undefined {
  if (tree === undefined) return undefined;
  if (tree.type === "scalar") return { context: contextOf(place, tree) };
  const build = mappingOf(place, tree, "build");
  if (build === undefined) return undefined;
  checkKeys(place, "build", build);
  const dockerfile = textOf(place, get(build, "dockerfile"), "dockerfile");
  if (dockerfile !== undefined && outside(dockerfile) !== undefined)
    refuse(
      place,
      get(build, "dockerfile")?.at ?? build.at,
      "build.dockerfile",
      `${dockerfile}: ${outside(dockerfile) ?? ""}`,
      "Copy it into the project.",
    );
  const target = textOf(place, get(build, "target"), "target");
  const args = readArgs(place, get(build, "args"));
  const secrets = readBuildSecrets(place, get(build, "secrets"));
  return {
    context: contextOf(place, get(build, "context")),
    ...(dockerfile === undefined ? {} : { dockerfile }),
    ...(target === undefined ? {} : { target }),
    ...(args === undefined ? {} : { args }),
    ...(secrets === undefined ? {} : { secrets }),
  };
}

/** Each under the id that a step asks for: its target, or its own name. */
function readBuildSecrets(place: BuildPlace, tree: Tree | undefined): Record<string, string> | undefined {
  const grants = readGrants(place, "secrets", tree, [...place.secrets.keys()]);
  if (grants.length === 0) return undefined;
  return Object.fromEntries(grants.map(({ source, file }) => [file, place.secrets.get(source) ?? source]));
}

function contextOf(place: Place, tree: Tree | undefined): string {
  const text = textOf(place, tree, "context") ?? ".";
  const leaves = outside(text);
  if (leaves !== undefined && tree !== undefined) {
    refuse(
      place,
      tree.at,
      "build.context",
      `${text}: ${leaves}`,
      isRemote(text) ? "Make the repository a source of its own stack: `berth sources`." : "Run `berth up` in the folder that contains it.",
    );
    return ".";
  }
  return normalise(text);
}

/** One without a value comes from the caller's shell; one that is not set there either is left out, as Compose does. */
function readArgs(place: Place & { readonly environment: Environment }, tree: Tree | undefined): Record<string, string> | undefined {
  const map = tree === undefined ? undefined : mappingOf(place, keyed(tree), "args");
  if (map === undefined) return undefined;
  const args: [string, string][] = [];
  for (const entry of map.entries.values()) {
    if (entry.key === "") complain(place, entry.keyAt, "build.args", "an argument has no name", "Write `NAME: value`.");
    const value = isNull(entry.value) ? place.environment.lookup(entry.key) : textOf(place, entry.value, entry.key);
    if (value !== undefined) args.push([entry.key, value]);
  }
  return args.length === 0 ? undefined : Object.fromEntries(args);
}
