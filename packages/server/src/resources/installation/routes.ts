// HTTP face of the installation itself: what answers here, signing in, who one is, and the doctor.
import type { Check, installationRoutes } from "@berth/contract/resources/installation.ts";
import type { HandlersOf } from "../call.ts";
import type { ResourceDeps } from "../deps.ts";
import type { TokenService } from "../tokens/service.ts";

export interface InstallationFacts { readonly id: () => string; readonly version: string; readonly routerUrl: () => string; readonly doctor: (signal: AbortSignal) => Promise<Check[]> }

export function installationHandlers(deps: ResourceDeps, facts: InstallationFacts, tokens: TokenService): HandlersOf<typeof installationRoutes> {
  return {
    showInstallation: async () => ({ id: facts.id(), version: facts.version, apiVersion: "v1", now: deps.clock().toISOString(), routerUrl: facts.routerUrl() }),
    login: ({ body }, call) => tokens.login(call, body),
    logout: async (_input, call) => {
      await tokens.logout(call);
      return {};
    },
    showMe: async (_input, call) => {
      const teams = await deps.access.teamsOf(call.principal);
      const { tokenId } = call.principal;
      const row = tokenId === undefined ? undefined : await deps.db.selectFrom("api_tokens").select(["id", "name", "scopes", "expires_at"]).where("id", "=", tokenId).executeTakeFirst();
      return {
        user: { id: call.principal.id, name: call.by }, teams: teams.map(({ name, roles }) => ({ name, roles })), permissions: [...(await deps.access.permissions(call.principal))].sort(),
        ...(row === undefined ? {} : { token: { id: row.id, name: row.name, scopes: row.scopes, ...(row.expires_at === null ? {} : { expiresAt: row.expires_at.toISOString() }) } }),
      };
    },
    runDoctor: async (_input, call) => ({ checks: await facts.doctor(call.signal) }),
  };
}
