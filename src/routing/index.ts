export { createRouter, type Recipient, type Routed, type Router, type RouterOptions } from './router.ts';
