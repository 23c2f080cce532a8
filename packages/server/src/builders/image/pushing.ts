// A builder whose images end in a registry: builds by another one, whose images are its daemon's, and pushes what came of it. The build's deadline, its
// cancel and its log are those of the push, too.
import { cause } from "@berth/contract/causes.ts";
import { registryOf, type FindLogin } from "../../core/image/reference.ts";
import { createMask } from "../../core/mask.ts";
import { duration } from "../../core/words.ts";
import type { DockerApi } from "../../docker/api.ts";
import type { Builder, BuildEvent, BuildOutcome, BuildRequest } from "../builder.ts";
import { pushImage, type PushPatience } from "./push.ts";

export interface PushingDeps {
  readonly api: DockerApi;
  readonly login: FindLogin;
  readonly clock: () => Date;
  readonly patience?: PushPatience;
}

/** Builds without a destination are left as they are. May be called again with the same id after a crash: the daemon has its layers, and the registry what it got. */
export function pushing(builder: Builder, deps: PushingDeps): Builder {
  async function build(request: BuildRequest, onEvent: (event: BuildEvent) => void, signal: AbortSignal): Promise<BuildOutcome> {
    const late = AbortSignal.timeout(request.deadline);
    const outcome = await builder.build(request, onEvent, signal);
    if (!outcome.ok || request.destination === undefined) return outcome;
    const { repository, tag } = request.destination;
    const registry = registryOf(repository);
    const login = await deps.login(registry);
    if (login?.readable === false) return { ok: false, cause: cause("registry_unreadable", { registry, image: `${repository}:${tag}` }) };
    const mask = createMask([...request.secretValues, ...(login === undefined ? [] : [login.password])]);
    const say = (text: string): void =>
      onEvent({ type: "log", line: { at: deps.clock().toISOString(), stream: "berth", text: mask(text) } });
    try {
      const order = { image: outcome.digest, repository, tag, login, say };
      const pushed = await pushImage(deps.api, order, AbortSignal.any([signal, late]), deps.patience);
      return pushed.ok ? { ...outcome, image: outcome.digest, digest: pushed.digest, reference: pushed.reference } : pushed;
    } catch (error) {
      signal.throwIfAborted();
      if (late.aborted) return { ok: false, cause: cause("build_deadline", { waited: duration(request.deadline) }) };
      throw error;
    }
  }
  return { ...builder, build };
}
