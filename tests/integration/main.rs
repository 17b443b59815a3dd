//! Real mounts of archives that are built byte by byte.

mod faults;
mod fixture;
mod image;
mod mounted;

mod attributes;
mod caching;
mod changes;
mod cloning;
mod colour;
mod connected;
mod content;
mod coreutils;
mod documents;
mod ending;
mod errors;
mod folders;
mod hostile;
mod inflating;
mod install;
mod listing;
mod load;
mod model;
mod mounting;
mod mounts;
mod names;
mod nested;
mod oracle;
mod refused;
mod repacking;
mod running;
mod several;
mod unreadable;
mod users;
mod verifying;
