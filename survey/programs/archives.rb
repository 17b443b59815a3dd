# ruby archives.rb write|stream|read ARCHIVE FOLDER
require 'zip'
require 'fileutils'

NAMES = %w[x.npy y.npy deep/z.npy].freeze
action, archive, folder = ARGV
case action
when 'write'
  Zip::File.open(archive, Zip::File::CREATE) do |zip|
    NAMES.each { |name| zip.add(name, File.join(folder, name)) }
  end
when 'stream'
  File.binwrite(archive, Zip::OutputStream.write_buffer do |zip|
    NAMES.each do |name|
      zip.put_next_entry(name)
      zip.write(File.binread(File.join(folder, name)))
    end
  end.string)
when 'read'
  Zip::File.open(archive) do |zip|
    zip.each do |entry|
      path = File.join(folder, entry.name)
      FileUtils.mkdir_p(File.dirname(path))
      File.binwrite(path, entry.get_input_stream.read)
    end
  end
end
