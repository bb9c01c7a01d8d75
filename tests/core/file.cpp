#include "core/file.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/core/support.h"

using namespace norma;
using namespace norma::tests;

namespace {

void write_whole(const std::string& path, const std::string& text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace

TEST_CASE("a file is read back as it was written") {
  const Folder folder;
  const std::string text("a\0b\r\n\xff", 6);
  write_whole(folder.file("x"), text);
  CHECK(read_file(folder.file("x")) == text);
  write_whole(folder.file("x"), "");
  CHECK(read_file(folder.file("x")).empty());
  CHECK(folder.count() == 1);
}

TEST_CASE("what cannot be read throws with path and cause") {
  const Folder folder;
  const std::string message = message_of([&] { read_file(folder.file("missing")); });
  CHECK(contains(message, folder.file("missing")));
  CHECK(contains(message, "No such file"));
  CHECK(contains(message_of([&] { read_file(folder.file("")); }), "not a regular file"));
  CHECK(contains(message_of([] { read_file("/dev/zero"); }), "not a regular file"));
  REQUIRE(mkfifo(folder.file("pipe").c_str(), 0600) == 0);
  CHECK_THROWS_AS(read_file(folder.file("pipe")), Error);
  write_whole(folder.file("x"), "12345");
  CHECK(read_file(folder.file("x"), 5) == "12345");
  CHECK_THROWS_AS(read_file(folder.file("x"), 4), Error);
}

TEST_CASE("R118 a full disk or a path that cannot be written throws") {
  const Folder folder;
  if (std::filesystem::exists("/dev/full")) {
    CHECK(contains(message_of([] { write_whole("/dev/full", "text"); }), "No space left"));
    CHECK_FALSE(std::filesystem::exists("/dev/full.tmp"));
  }
  CHECK_THROWS_AS(write_whole(folder.file("no/such/folder"), "text"), Error);
  CHECK_THROWS_AS(write_whole(folder.file(""), "text"), Error);
  CHECK(folder.count() == 0);
}

TEST_CASE("R119 without commit the old file stays and the temporary one goes") {
  const Folder folder;
  write_whole(folder.file("x"), "old");
  {
    AtomicFile file(folder.file("x"));
    file.write("new");
    CHECK(folder.count() == 2);
  }
  CHECK(read_file(folder.file("x")) == "old");
  CHECK(folder.count() == 1);
  std::filesystem::create_directory(folder.file("folder"));
  CHECK_THROWS_AS(write_whole(folder.file("folder"), "text"), Error);  // the rename fails
  CHECK(folder.count() == 2);
  AtomicFile file(folder.file("x"));
  file.commit();
  CHECK_THROWS_AS(file.commit(), Error);
  CHECK_THROWS_AS(file.write("late"), Error);
}

TEST_CASE("R119 a link is followed, not replaced") {
  const Folder folder;
  write_whole(folder.file("real"), "old");
  std::filesystem::create_symlink("real", folder.file("link"));
  write_whole(folder.file("link"), "new");
  CHECK(std::filesystem::is_symlink(folder.file("link")));
  CHECK(read_file(folder.file("real")) == "new");
}

TEST_CASE("R119 a writer killed at any moment leaves the old or the new file") {
  const Folder folder;
  const std::string path = folder.file("x");
  const std::string first(1 << 16, 'a'), second(1 << 16, 'b');
  write_whole(path, first);
  Generator generator(1);
  int seen_second = 0;
  for (int trial = 0; trial < 50; ++trial) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      for (;;) {
        for (const std::string& text : {second, first}) {
          AtomicFile file(path);
          for (std::size_t done = 0; done < text.size(); done += 4096) file.write(text.data() + done, 4096);
          file.commit();
        }
      }
    }
    usleep(static_cast<useconds_t>(generator.below(5000)));
    kill(child, SIGKILL);
    REQUIRE(waitpid(child, nullptr, 0) == child);
    const std::string text = read_file(path);
    REQUIRE((text == first || text == second));
    seen_second += text == second;
  }
  MESSAGE("new file seen ", seen_second, " times of 50");
}
