//! Every rule of `docs/conformance.md` over real sockets: what the client gets, and what the origin was asked.
//!
//! Most rules are rows of tables in the notation of [`bench`]; a row begins with the number of its rule. Each table runs
//! through a forward and a reverse listener. Rules that another scenario proves already are not repeated here: the page
//! names that one. `table` keeps page and tests in step.

mod age;
mod authorization;
mod bench;
mod conditional;
mod dates;
mod directives;
mod foundations;
mod freshness;
mod grammar;
mod invalidation;
mod ranges;
mod request;
mod stale;
mod storing;
mod story;
mod table;
mod targeted;
mod vary;
