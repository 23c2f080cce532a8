// Types of cache.mjs for its test.
export function withUsableCache(env: NodeJS.ProcessEnv, root: string): NodeJS.ProcessEnv;
