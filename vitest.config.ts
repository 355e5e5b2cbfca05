import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'bench/**/*.test.ts', 'test/**/*.test.ts'],
    // A test file may have a network namespace of its own, which belongs to a process.
    pool: 'forks',
  },
});
