# perl archives.pl archive|io write|read ARCHIVE FOLDER
use strict;
use warnings;
use Archive::Zip qw(:ERROR_CODES);
use IO::Compress::Zip qw($ZipError);
use IO::Uncompress::Unzip qw($UnzipError);
use File::Basename qw(dirname);
use File::Path qw(make_path);

my @names = ('x.npy', 'y.npy', 'deep/z.npy');
my ($library, $action, $archive, $folder) = @ARGV;
if ("$library $action" eq 'archive write') {
    my $zip = Archive::Zip->new;
    $zip->addFile("$folder/$_", $_) for @names;
    $zip->writeToFileNamed($archive) == AZ_OK or die 'write';
} elsif ("$library $action" eq 'archive read') {
    my $zip = Archive::Zip->new;
    $zip->read($archive) == AZ_OK or die 'read';
    $zip->extractTree('', "$folder/") == AZ_OK or die 'extract';
} elsif ("$library $action" eq 'io write') {
    my $zip = IO::Compress::Zip->new($archive, Name => $names[0], -Level => 9) or die $ZipError;
    for my $name (@names) {
        $zip->newStream(Name => $name) if $name ne $names[0];
        open my $in, '<:raw', "$folder/$name" or die $!;
        local $/;
        $zip->print(<$in>);
    }
    $zip->close;
} else {
    my $zip = IO::Uncompress::Unzip->new($archive) or die $UnzipError;
    for (my $status = 1; $status > 0; $status = $zip->nextStream) {
        my $path = "$folder/" . $zip->getHeaderInfo->{Name};
        make_path(dirname($path));
        open my $out, '>:raw', $path or die $!;
        my $buffer;
        while (($status = $zip->read($buffer)) > 0) { print $out $buffer }
        $status < 0 and die $UnzipError;
    }
}
