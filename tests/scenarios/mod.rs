//! One file for each subject.

mod access;
mod behaviour;
mod ca;
mod caching;
mod collapse;
mod damage;
mod explain;
mod framing;
mod http2;
mod intercept;
mod lifecycle;
mod limits;
mod overrides;
mod packages;
mod parent;
mod parts;
mod process;
mod ranges;
mod regressions;
mod relay;
mod reverse;
mod run;
mod tls;
mod tools;
mod tunnel;
mod validation;
