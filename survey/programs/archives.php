<?php // php archives.php write|read ARCHIVE FOLDER
[, $action, $archive, $folder] = $argv;
$zip = new ZipArchive();
if ($action === 'write') {
    $zip->open($archive, ZipArchive::CREATE);
    foreach (['x.npy', 'y.npy', 'deep/z.npy'] as $name) {
        $zip->addFile("$folder/$name", $name);
    }
} else {
    if ($zip->open($archive) !== true || !$zip->extractTo($folder)) {
        exit(1);
    }
}
$zip->close();
