// Refuses what needs the disk or the keys of another node: bundles and build logs lie in that node's home, and secrets are sealed for it. Everything
// else is rows, which any server of the database may read and write. Must never tell of a stack to somebody who may not know of it.
import type { Access } from "../db/permissions.ts";
import type { Db } from "../db/pool.ts";
import { elsewhere } from "../engines/away.ts";
import type { Call, Handlers } from "../resources/call.ts";
import { findStack } from "../resources/stacks/store.ts";
import { whereIs, type ServerPlaces } from "./places.ts";

export function refuseElsewhere(
  handlers: Handlers,
  deps: { readonly db: Db; readonly access: Access; readonly places: ServerPlaces },
): Handlers {
  const { db, access, places } = deps;

  async function check(name: string | undefined, call: Call): Promise<void> {
    const stack = name === undefined ? undefined : await findStack(db, name);
    // The handler answers as if there were no such stack.
    if (stack !== undefined && !(await access.may(call.principal, "stacks.read", { team: stack.team_id, stack: stack.id }))) return;
    const cluster = stack?.cluster ?? places.standard;
    if (places.owns(cluster)) return;
    throw elsewhere(cluster, whereIs(places.owner(cluster)));
  }

  const inStack =
    <I extends { readonly params: { readonly stack: string } }, O>(handler: (input: I, call: Call) => Promise<O>) =>
    async (input: I, call: Call): Promise<O> => {
      await check(input.params.stack, call);
      return handler(input, call);
    };

  return {
    ...handlers,
    uploadSource: inStack(handlers.uploadSource),
    fetchSource: inStack(handlers.fetchSource),
    setCredential: inStack(handlers.setCredential),
    setSecret: inStack(handlers.setSecret),
    createPlan: inStack(handlers.createPlan),
    applyPlan: inStack(handlers.applyPlan),
    deployComponent: inStack(handlers.deployComponent),
    rollbackComponent: inStack(handlers.rollbackComponent),
    readBuildLogs: inStack(handlers.readBuildLogs),
    explainSource: async (input, call) => {
      await check(undefined, call);
      return handlers.explainSource(input, call);
    },
  };
}
