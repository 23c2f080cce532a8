// What proves a host is shown where the authority looks, and taken back: an answer on the routers' plain door, or a record that the operator's program sets.
import type { AcmeSettings } from "../../core/acme.ts";
import type { KeptProof } from "../../db/tables-acme.ts";
import type { Epoch } from "../../engines/engine.ts";
import type { Places } from "../../resources/deps.ts";
import { runHook } from "./hook.ts";

export interface ProofDeps {
  readonly places: Pick<Places, "traffic">;
  readonly installation: () => Epoch;
  readonly settings: AcmeSettings;
  /** What the operator's program is given of the environment. */
  readonly hookEnv: Readonly<Record<string, string>>;
  readonly clock: () => Date;
}
export interface Shown {
  readonly cluster: string;
  readonly host: string;
  readonly proof: KeptProof;
}

/** ms after which the edge forgets an answer that nobody took back. */
const answerLife = 3_600_000;
/** ms for taking a record away, where no deadline is set any more. */
const removalWithin = 120_000;

/** The authority can see it when it resolves. Errors: those of `Traffic.setProof`, `HookFailed`. */
export async function showProof(deps: ProofDeps, { cluster, host, proof }: Shown, signal: AbortSignal): Promise<void> {
  if (proof.type === "http-01") {
    const until = deps.clock().getTime() + answerLife;
    await deps.places.traffic(cluster).setProof({ host, token: proof.token, answer: proof.answer, until }, deps.installation(), signal);
    return;
  }
  await callHook(deps, "add", host, proof, signal);
}

/** Errors: as `showProof`. */
export async function dropProof(deps: ProofDeps, { cluster, host, proof }: Shown, signal: AbortSignal): Promise<void> {
  if (proof.type === "http-01") await deps.places.traffic(cluster).removeProof(proof.token, deps.installation(), signal);
  else await callHook(deps, "remove", host, proof, signal);
}

async function callHook(deps: ProofDeps, verb: "add" | "remove", host: string, { answer }: KeptProof, signal: AbortSignal): Promise<void> {
  const { proof } = deps.settings;
  // The operator changed to another way meanwhile: there is no program any more that could take its record away.
  if (proof.type !== "dns-01") return;
  const name = `_acme-challenge.${host.replace(/^\*\./, "")}`;
  const deadline = verb === "add" ? proof.deadline : Math.min(proof.deadline, removalWithin);
  await runHook({ program: proof.hook, verb, name, value: answer, env: deps.hookEnv, deadline }, signal);
}
