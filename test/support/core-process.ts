import type { Topology } from '../../src/ipam/lease.ts';
import { beTraced } from './be-traced.ts';
import { createSandbox, createSandboxes, openCore, pause_ms, settle, VICTIM, VICTIMS } from './lab-core.ts';

/*
 * A core in a process of its own, so that the process can be killed: `core-process.ts FOLDER COMMAND TOPOLOGY`.
 *
 * The command proper runs under strace(1), with the options in STRACE, which can list its system calls or send a
 * signal at one of them.
 */

const [folder = '', command = '', name = 'netns'] = process.argv.slice(2);
const topology = name as Topology;

/** From here on strace(1) looks on. */
function begin(): void {
  beTraced({ allThreads: command === 'helped' });
}

if (command === 'adopt') begin();
/** networks in the pool */
const POOL: Readonly<Record<string, number>> = { warm: 1, plain: 1, helped: 3 };
const poolSizes = { microvm: 0, netns: 0, bridge: 0, [topology]: POOL[command] ?? 0 };
using core = openCore(folder, { poolSizes });

switch (command) {
  case 'prepare':
    createSandbox(core, 'bystander', topology);
    break;
  case 'create':
    begin();
    createSandbox(core, VICTIM, topology);
    break;
  case 'warm':
    settle(core);
    begin();
    createSandbox(core, VICTIM, topology);
    break;
  case 'plain':
    settle(core);
    begin();
    // with no rates it is as its owner wants it
    createSandboxes(core, [VICTIM], topology, {});
    break;
  case 'remove':
    createSandbox(core, VICTIM, topology);
    begin();
    core.remove([VICTIM]);
    settle(core);
    break;
  case 'adopt':
    settle(core);
    break;
  case 'helped':
    begin();
    core.hire();
    while (core.status().warm[topology] < poolSizes[topology]) {
      core.step();
      pause_ms(1);
    }
    createSandboxes(core, VICTIMS, topology);
    core.remove(VICTIMS);
    settle(core);
    break;
  default:
    throw new Error(`Unknown command ${command}`);
}
