//! A path kept on the stack while walking, turned into text only when something is wrong.

/// One step and the steps before it.
#[derive(Clone, Copy)]
pub(crate) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    pub(crate) const ROOT: Path<'static> = Path { parent: None, step: Step::Root };

    pub(crate) fn key(&'a self, key: &'a str) -> Path<'a> {
        Path { parent: Some(self), step: Step::Key(key) }
    }

    pub(crate) fn index(&'a self, index: usize) -> Path<'a> {
        Path { parent: Some(self), step: Step::Index(index) }
    }

    /// `spec.containers[0].image`
    pub(crate) fn render(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, true);
        out
    }

    /// `spec.containers.image`, as Go's json package names a field.
    pub(crate) fn render_fields(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, false);
        out
    }

    fn write(&self, out: &mut String, indexes: bool) {
        if let Some(parent) = self.parent {
            parent.write(out, indexes);
        }
        match self.step {
            Step::Root => {}
            Step::Key(key) => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(key);
            }
            Step::Index(index) if indexes => out.push_str(&format!("[{index}]")),
            Step::Index(_) => {}
        }
    }
}
