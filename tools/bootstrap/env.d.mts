// Types of env.mjs for its test.
export function forProgram(env: NodeJS.ProcessEnv, root: string): NodeJS.ProcessEnv;
export function forNpm(env: NodeJS.ProcessEnv, root: string): NodeJS.ProcessEnv;
