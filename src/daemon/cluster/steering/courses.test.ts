import { expect, it } from 'vitest';
import { Courses } from './courses.ts';

const EVEN = { sends: 'even', acceptsClear: false } as const;
const CLEAR = { sends: 'clear', acceptsClear: true } as const;

it('wants what the kernel has not, and keeps what is wanted while another is done', () => {
  const courses = new Courses();
  courses.want('h2', EVEN);
  const [wanted] = [...courses.wanted.values()];
  courses.want('h2', CLEAR);
  if (wanted !== undefined) courses.took('h2', wanted);
  expect(courses.applied.get('h2')).toEqual(EVEN);
  expect(courses.latest('h2')).toEqual(CLEAR);
  courses.want('h2', { ...EVEN });
  expect(courses.wanted.size).toBe(0);
  expect(courses.latest('h2')).toEqual(EVEN);
  courses.want('h2', CLEAR);
  courses.forget('h2');
  expect(courses.latest('h2')).toBeUndefined();
});

it('tells the largest packet that a route lets pass', () => {
  const courses = new Courses();
  expect(courses.largest(1420)).toBe(0);
  courses.took('h2', { ...EVEN, mtu: 1300 });
  expect(courses.largest(1420)).toBe(1300);
  courses.took('h3', EVEN);
  expect(courses.largest(1420)).toBe(1420);
});
