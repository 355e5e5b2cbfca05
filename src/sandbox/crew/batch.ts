import type { Network } from '../topology/network.ts';
import { Job, type Outcome, type Task } from './job.ts';

/** A task for some networks, and what becomes of it. */
export class Batch {
  readonly id: number;
  readonly task: Task;
  readonly networks: readonly Network[];
  readonly job: Job;
  readonly failures = new Map<number, unknown>();

  constructor(id: number, task: Task, networks: readonly Network[]) {
    this.id = id;
    this.task = task;
    this.networks = networks;
    this.job = new Job(networks.length);
  }

  get isOver(): boolean {
    return this.job.isOver;
  }

  outcome(index: number): Outcome {
    return this.job.outcome(index);
  }

  /** Why the first that failed did; undefined where none has. */
  get failure(): unknown {
    return this.failures.values().next().value;
  }
}
