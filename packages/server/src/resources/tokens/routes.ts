// HTTP face of tokens, users, teams and roles.
import type { tokenRoutes } from "@berth/contract/resources/tokens.ts";
import type { HandlersOf } from "../call.ts";
import type { TokenService } from "./service.ts";

export function tokenHandlers(tokens: TokenService): HandlersOf<typeof tokenRoutes> {
  return {
    listTokens: ({ query }, call) => tokens.list(call, query),
    createToken: ({ body }, call) => tokens.create(call, body),
    deleteToken: async ({ params }, call) => {
      await tokens.remove(call, params.token);
      return {};
    },
    listUsers: ({ query }) => tokens.users(query),
    listTeams: ({ query }) => tokens.teams(query),
    listRoles: ({ query }) => tokens.roles(query),
  };
}
