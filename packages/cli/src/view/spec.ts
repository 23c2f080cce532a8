// A component's spec: the lines that people look for, and changing one field of it by its path. The server checks the outcome.
import type { ComponentSpec } from "@berth/contract/spec.ts";
import { UsageError } from "../failure.ts";
import { bytes, duration } from "../output/time.ts";

/** `name: value` pairs of what is set; defaults are left out. */
export function specFacts(spec: ComponentSpec): (readonly [string, string | undefined])[] {
  const command = (value: ComponentSpec["command"]): string | undefined =>
    value === undefined ? undefined : "shell" in value ? value.shell : value.exec.join(" ");
  const list = (values: readonly string[]): string | undefined => (values.length === 0 ? undefined : values.join("\n"));
  return [
    ["process", spec.process],
    ["command", command(spec.command)],
    ["image", spec.image === undefined || spec.follow !== true ? spec.image : `${spec.image} (its tag is followed)`],
    ["schedule", spec.schedule === undefined ? undefined : `${spec.schedule.cron} (${spec.schedule.timeZone ?? "UTC"})`],
    [
      "domains",
      list(spec.domains.map((domain) => `${domain.host}${domain.path ?? ""}${domain.https === undefined ? "" : " (HTTPS only)"}`)),
    ],
    [
      "ports",
      list(
        spec.ports.map(
          (port) =>
            `${port.name}/${port.appProtocol ?? port.protocol}${port.port === undefined ? "" : ` ${port.port}`}${port.published === undefined ? "" : ` (public: ${port.published})`}`,
        ),
      ),
    ],
    ["volumes", list(spec.volumes.map((mount) => `${mount.volume} at ${mount.path}${mount.readOnly === true ? " (read only)" : ""}`))],
    ["needs", list(spec.dependsOn.map((dependency) => `${dependency.component} (${dependency.condition})`))],
    ["secrets", list(Object.entries(spec.secrets).map(([name, secret]) => `${name} = ${secret}`))],
    [
      "limits",
      list([
        ...(spec.resources.memory === undefined ? [] : [`memory ${bytes(spec.resources.memory)}`]),
        ...(spec.resources.cpu === undefined ? [] : [`${spec.resources.cpu} cores`]),
        ...(spec.maxBody === undefined ? [] : [`request bodies ${bytes(spec.maxBody)}`]),
        ...(spec.maxConnections === undefined ? [] : [`${spec.maxConnections} connections`]),
      ]),
    ],
    ["strategy", spec.strategy.type],
    ["grace period", duration(spec.gracePeriod)],
  ];
}

export function readSpec(text: string, file: string): ComponentSpec {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new UsageError(`${file} is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (typeof value !== "object" || value === null || !("kind" in value))
    throw new UsageError(`${file} is not the spec of a component.`, "`berth components show <component> --json | jq .spec` prints one.");
  return value as ComponentSpec;
}

/** A copy with `path=value` set (JSON where it is JSON, else a text) and paths removed. */
export function changedSpec(spec: ComponentSpec, set: readonly string[], unset: readonly string[]): ComponentSpec {
  const copy = structuredClone(spec) as unknown as Record<string, unknown>;
  for (const assignment of set) {
    const at = assignment.indexOf("=");
    if (at < 1) throw new UsageError(`\`${assignment}\` is not path=value.`);
    place(copy, assignment.slice(0, at), valueOf(assignment.slice(at + 1)));
  }
  for (const path of unset) place(copy, path, undefined);
  return copy as unknown as ComponentSpec;
}

function place(root: Record<string, unknown>, path: string, value: unknown): void {
  const steps = path.split(".");
  const last = steps.pop() ?? "";
  let at: Record<string, unknown> = root;
  for (const step of steps) {
    if (step === "__proto__") throw new UsageError(`\`${path}\` is not a path of a spec.`);
    const next = at[step];
    if (next === undefined) at[step] = {};
    else if (typeof next !== "object" || next === null) throw new UsageError(`\`${path}\` leads through ${step}, which is a value.`);
    at = at[step] as Record<string, unknown>;
  }
  if (last === "" || last === "__proto__") throw new UsageError(`\`${path}\` is not a path of a spec.`);
  if (value !== undefined) at[last] = value;
  else if (Array.isArray(at)) at.splice(Number(last), 1);
  else delete at[last];
}

function valueOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return text;
    throw error;
  }
}
