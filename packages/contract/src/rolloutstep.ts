// What a rollout's step says to people: what it is at within its phase.
import type { Rollout } from "./resources/rollouts.ts";

type Step = NonNullable<Rollout["step"]>;

/** undefined for a step that a newer server knows. */
export function stepText({ code, params }: Step): string | undefined {
  switch (code) {
    case "release_command":
      return `release command, task ${params["task"]}`;
    case "pulling":
      return `pulling ${nameOf(params)}: ${pullText(params)}`;
    case "pull_stalled":
      return `pulling ${nameOf(params)}: nothing has come for ${params["quiet"]} s, ${pullText(params)}`;
    case "cluster_before":
      return `until it is live in cluster ${params["cluster"]}`;
    case "cluster_pause":
      return `pauses after cluster ${params["cluster"]} until ${params["until"]}`;
    case "cluster_check":
      return `until cluster ${params["cluster"]} is well`;
    default:
      return undefined;
  }
}

/** Its digest is nothing that people read. */
const nameOf = ({ image }: Step["params"]): string => String(image).replace(/@sha256:[0-9a-f]+$/, "");

function pullText({ layers = 0, there = 0, bytes = 0, total }: Step["params"]): string {
  // Podman and the first moments have no figures.
  if (layers === 0) return "it has begun";
  const came =
    total === undefined ? `${megabytes(bytes)} MB` : `${megabytes(bytes)} of ${megabytes(total)} MB (${percent(bytes, total)} %)`;
  return `${there} of ${layers} layers, ${came}`;
}

const megabytes = (bytes: string | number): string => (Number(bytes) / 1e6).toFixed(1);
const percent = (bytes: string | number, total: string | number): number =>
  Number(total) === 0 ? 100 : Math.floor((100 * Number(bytes)) / Number(total));
