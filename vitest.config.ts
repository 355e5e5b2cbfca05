import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'bench/**/*.test.ts', 'demo/**/*.test.ts', 'test/**/*.test.ts'],
    // A test file may have a network namespace of its own, which belongs to a process.
    pool: 'forks',
    // Most of a test is waiting, for the kernel and for processes: one worker more than there are processors.
    maxWorkers: availableParallelism() + 1,
    // Only for what hangs: how long something takes decides no test.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 60_000 } },
  },
});
