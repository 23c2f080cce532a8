// Every permission there is. Roles are sets of them, at installation, team or stack scope; a token carries some of its user's.

export const permissionsEn = {
  "stacks.create": "Create stacks in the team",
  "stacks.read": "See a stack and what is in it, its logs and events",
  "stacks.write": "Change a stack's definition: components, config, routes",
  "releases.deploy": "Bring sources in, build, roll out, roll back",
  "runtime.operate": "Touch what runs: scale, restart, stop, start, run a schedule",
  "terminal.open": "Run commands inside instances",
  "secrets.read": "Read the values of secrets",
  "secrets.write": "Set and delete secrets and credentials",
  "volumes.read": "Take what is in volumes out, as archives",
  "volumes.write": "Put archives into new volumes",
  "volumes.delete": "Delete volumes with everything in them",
  "privileges.grant": "Give components rights that reach their machine: the profile `privileged`, and what it lets an overlay do",
  "orders.approve": "Approve release orders of protected stacks",
  "tokens.manage": "See and revoke the tokens of other users",
  "users.read": "List users",
  "users.manage": "Create and disable users, and give roles",
  "teams.manage": "Create teams and change their members",
  "audit.read": "Read the audit log",
  "installation.manage": "Change the installation: clusters, known hosts, retention",
} as const;
export type Permission = keyof typeof permissionsEn;

/** Everything, those that later versions add too. */
export const everyPermission = "*";

export function isPermission(text: string): text is Permission {
  return Object.hasOwn(permissionsEn, text);
}
