import { readlinkSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import { setPriority } from 'node:os';
import { basename } from 'node:path';
import { receiveMessageOnPort, workerData } from 'node:worker_threads';
import { Kernel } from '../../linux/apply.ts';
import { ROUTER } from '../../plan/state.ts';
import { wireError } from '../../wire-error.ts';
import { Hands } from './hands.ts';
import { type Given, type HelperData, type Resized, TOLD } from './helper.ts';
import { Job } from './job.ts';

/*
 * The kernel thread's helper: it works on the jobs that it is given and on nothing else, the most urgent first and of
 * those in the order they came. Who waits for one waits no longer than one item of another takes.
 */

const { pins, layout, port, told } = workerData as HelperData;
const kernel = new Kernel(pins, [ROUTER]);
const hands = new Hands(kernel, layout);
const waiting: Given[] = [];
/** Of this thread alone: those who wait for an answer, and the thread that gives it, come first. */
const NICENESS = 5;
let isClosing = false;

type Order = Given | Resized | 'close';

function receive(given: Order): void {
  if (given === 'close') isClosing = true;
  else if ('mtu' in given) layout.mtu = given.mtu;
  else waiting.push(given);
}

function workOn(given: Given): void {
  const { id, task, networks, cells } = given;
  const job = new Job(networks.length, cells);
  const failed = (index: number, error: unknown): void => port.postMessage({ id, index, error: wireError(error) });
  while (!isClosing && hands.workOn(job, task, networks, failed)) {
    Atomics.add(told, TOLD.done, 1);
    for (let more = receiveMessageOnPort(port); more !== undefined; more = receiveMessageOnPort(port)) {
      receive(more.message as Order);
    }
    for (let next = takeAbove(given.urgency); next !== undefined; next = takeAbove(given.urgency)) workOn(next);
  }
  if (task === 'clear') hands.rest();
}

/** The first of the most urgent that wait, where it is more urgent than this. */
function takeAbove(urgency: number): Given | undefined {
  const most = Math.max(...waiting.map((given) => given.urgency));
  if (most <= urgency) return undefined;
  const at = waiting.findIndex((given) => given.urgency === most);
  return waiting.splice(at, 1)[0];
}

// `/proc/thread-self` is PID/task/TID
const thread = Number(basename(readlinkSync('/proc/thread-self')));
setPriority(thread, NICENESS);
Atomics.store(told, TOLD.thread, thread);
port.on('message', (given: Order) => {
  receive(given);
  for (let next = takeAbove(-1); next !== undefined; next = takeAbove(-1)) workOn(next);
  if (!isClosing) return;
  hands[Symbol.dispose]();
  kernel[Symbol.dispose]();
  port.close();
});
// as the kernel thread does: the next daemon is to be back at once
flushCompileCache();
