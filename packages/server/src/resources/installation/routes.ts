// HTTP face of the installation itself: what answers here, signing in, who one is, and the doctor.
import type { Check, installationRoutes } from "@berth/contract/resources/installation.ts";
import type { HandlersOf } from "../call.ts";
import { meVerbs } from "../../core/allowed.ts";
import type { ResourceDeps } from "../deps.ts";
import type { TokenService } from "../tokens/service.ts";

export interface InstallationFacts {
  readonly id: () => string;
  readonly version: string;
  readonly routerUrl: () => string;
  readonly doctor: (signal: AbortSignal) => Promise<Check[]>;
}

export function installationHandlers(
  deps: ResourceDeps,
  facts: InstallationFacts,
  tokens: TokenService,
): HandlersOf<typeof installationRoutes> {
  return {
    showInstallation: async () => ({
      id: facts.id(),
      version: facts.version,
      apiVersion: "v1",
      now: deps.clock().toISOString(),
      routerUrl: facts.routerUrl(),
    }),
    login: ({ body }, call) => tokens.login(call, body),
    logout: async (_input, call) => {
      await tokens.logout(call);
      return {};
    },
    showMe: async (_input, call) => {
      const teams = await deps.access.teamsOf(call.principal);
      const { tokenId } = call.principal;
      const row =
        tokenId === undefined
          ? undefined
          : await deps.db
              .selectFrom("api_tokens")
              .select(["id", "name", "scopes", "expires_at"])
              .where("id", "=", tokenId)
              .executeTakeFirst();
      const held = await deps.access.permissions(call.principal);
      // A stack is made in a team: it is enough that there is one.
      const creates = (await deps.access.teamsWith(call.principal, "stacks.create")).length > 0;
      const may = (permission: string): boolean => held.has("*") || held.has(permission) || (permission === "stacks.create" && creates);
      return {
        user: { id: call.principal.id, name: call.by },
        teams: teams.map(({ name, roles }) => ({ name, roles })),
        permissions: [...held].sort(),
        allowed: meVerbs(may),
        ...(row === undefined
          ? {}
          : {
              token: {
                id: row.id,
                name: row.name,
                scopes: row.scopes,
                ...(row.expires_at === null ? {} : { expiresAt: row.expires_at.toISOString() }),
              },
            }),
      };
    },
    runDoctor: async (_input, call) => ({ checks: await facts.doctor(call.signal) }),
  };
}
