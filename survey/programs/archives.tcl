# tclsh archives.tcl read ARCHIVE FOLDER
package require zipfile::decode

lassign $argv action archive folder
zipfile::decode::open $archive
zipfile::decode::unzip [zipfile::decode::archive] $folder
zipfile::decode::close
