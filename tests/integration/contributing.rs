//! The pages for people: their links, and the map of the code.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const TOP: &str = env!("CARGO_MANIFEST_DIR");

/// Returns the entries at the top of the tree, without hidden and generated ones.
fn entries_of_the_tree() -> Vec<PathBuf> {
    let ignored = fs::read_to_string(Path::new(TOP).join(".gitignore")).unwrap();
    let generated: Vec<_> = ignored.lines().map(|line| line.trim_matches('/')).collect();
    let entries = fs::read_dir(TOP).unwrap().map(|entry| entry.unwrap());
    let entries = entries.filter(|entry| {
        let name = entry.file_name().into_string().unwrap();
        name == ".ci" || !name.starts_with('.') && !generated.contains(&&*name)
    });
    entries.map(|entry| entry.path()).collect()
}

/// Collects the pages at a path or below it.
fn pages(at: &Path, found: &mut Vec<PathBuf>) {
    if at.is_dir() {
        if at.file_name().is_some_and(|name| name != "target") {
            for entry in fs::read_dir(at).unwrap() {
                pages(&entry.unwrap().path(), found);
            }
        }
    } else if at.extension().is_some_and(|extension| extension == "md") {
        found.push(at.to_owned());
    }
}

/// Returns the text of a page without blocks of code and inline code.
fn prose(page: &Path) -> String {
    let text = fs::read_to_string(page).unwrap();
    let outside = text.split("\n```").step_by(2);
    // A part starts with the rest of the line that ends a block.
    let lines = outside.flat_map(str::lines);
    lines
        .map(|line| line.split('`').step_by(2).collect::<String>() + "\n")
        .collect()
}

/// Returns the targets of the links of a page.
fn links(page: &Path) -> Vec<String> {
    let prose = prose(page).replace('\n', " ");
    let after = prose.split("](").skip(1);
    let targets = after.filter_map(|rest| rest.split(')').next());
    targets.map(str::to_owned).collect()
}

/// Returns the anchors that hosting sites generate for the headings of a page.
fn anchors(page: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(page).unwrap();
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let title = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = title.replace(' ', "-");
        kept.replace(
            |letter: char| !letter.is_alphanumeric() && !"-_".contains(letter),
            "",
        )
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut all = Vec::new();
    for entry in entries_of_the_tree() {
        pages(&entry, &mut all);
    }
    let mut count = 0;
    for page in &all {
        for link in links(page) {
            if link.starts_with("https://") {
                continue;
            }
            count += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => page.clone(),
                _ => page.parent().unwrap().join(path),
            };
            assert!(target.exists(), "{}: {link}", page.display());
            let found = anchor.is_empty() || anchors(&target).contains(anchor);
            assert!(found, "{}: {link}", page.display());
        }
    }
    assert!(all.len() >= 9 && count >= 40, "{} and {count}", all.len());
}

/// Returns the inline code of a page.
fn named(page: &str) -> BTreeSet<&str> {
    page.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_map_has_every_module_and_folder_and_no_other() {
    let page = fs::read_to_string(Path::new(TOP).join("CONTRIBUTING.md")).unwrap();
    let (_, map) = page.split_once("\n## The map\n").unwrap();
    let map = map.split("\n## ").next().unwrap();
    let (modules, folders) = map.split_once("\n\n`tests/`").unwrap();
    let table = modules.split("\n| --- | --- |\n").nth(1).unwrap();
    let first_cells = table.lines().filter_map(|row| row.split('|').nth(1));
    let modules: BTreeSet<_> = first_cells.flat_map(named).map(str::to_owned).collect();
    let files = fs::read_dir(Path::new(TOP).join("src")).unwrap();
    let files = files.map(|entry| entry.unwrap().path());
    let stems = files.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let stems = stems.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned());
    let here: BTreeSet<_> = stems.filter(|stem| stem != "lib").collect();
    assert_eq!(modules, here);

    let text = format!("`tests/`{folders} `src/`");
    let folders = named(&text).into_iter();
    let folders: BTreeSet<_> = folders.filter_map(|name| name.strip_suffix('/')).collect();
    let entries = entries_of_the_tree();
    let here = entries.iter().filter(|entry| entry.is_dir());
    let here: BTreeSet<_> = here
        .map(|entry| entry.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(folders, here);
}

#[test]
fn the_readme_leads_to_every_page_and_every_way_to_use_it() {
    let readme = Path::new(TOP).join("README.md");
    let links = links(&readme);
    for page in [
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "docs/semantics.md",
        "docs/architecture.md",
        "docs/benchmarks.md",
        "docs/clusters.md",
        "packaging/python/README.md",
    ] {
        assert!(links.iter().any(|link| link == page), "{page}");
    }
    let text = fs::read_to_string(readme).unwrap();
    for step in [
        "make demo",
        "make test",
        "make deb",
        "make rpm",
        "make wheel",
        "fuse.npzfs",
    ] {
        assert!(text.contains(step), "{step}");
    }
}
