//! The images that the transformation needs facts about, for `nacre lock`.

use nacre_findings::{Code, Finding, Severity};
use nacre_fnconfig::Confidential;
use nacre_imagelock::ImageLock;
use nacre_krm::Stream;
use nacre_workload::inject::{self, CoordinatorLink, Injection};
use nacre_workload::names::{INITIALIZER_IMAGE, SERVICE_MESH_IMAGE};

use crate::catalogue::{self, Catalogue};
use crate::options::{Options, Source};
use crate::place::Text;
use crate::workload::Workload;

/// An image, and the container that names it.
#[derive(Clone, Debug)]
pub struct ImageUse {
    /// The reference as written in the resource, or as it will be injected.
    pub image: String,
    /// Carries resource, field and place for findings about it.
    template: Finding,
}

impl ImageUse {
    /// A finding about this use.
    pub fn finding(&self, code: Code, severity: Severity, message: impl Into<String>) -> Finding {
        let mut finding = Finding::new(code, severity, message).at(self.template.location.clone());
        if let Some(resource) = &self.template.resource {
            finding = finding.resource(resource.clone());
        }
        if let Some(field) = &self.template.field {
            finding = finding.field(field.clone());
        }
        finding
    }
}

/// Every image of the selected workloads as they are after injection, in the order of the input.
///
/// What stands in the way of the transformation itself is not reported here: a lock can be written
/// before a workload is right.
pub fn images(
    sources: &[Source],
    config: &Confidential,
    workspace_coordinator: Option<&Stream>,
) -> Vec<ImageUse> {
    let lock = ImageLock::default();
    let options = Options::new(config, &lock);
    let kinds = catalogue::kinds(config, &mut Vec::new());
    let coordinator = workspace_coordinator.map(|stream| Text { file: None, stream });
    let texts: Vec<_> = sources
        .iter()
        .map(|source| Text {
            file: source.file.as_deref(),
            stream: &source.stream,
        })
        .chain(coordinator)
        .collect();
    let catalogue = Catalogue::new(&texts, &kinds, config);
    let selected = catalogue.candidates.iter().filter_map(|candidate| {
        let workload = Workload::select(candidate, config)?;
        // Of the workspace's file only the Coordinator counts.
        let apart = workload.place.source >= sources.len();
        (!apart || workload.annotations.coordinator).then_some(workload)
    });
    selected
        .flat_map(|workload| of_workload(workload, &options))
        .collect()
}

fn of_workload(mut workload: Workload<'_>, options: &Options<'_>) -> Vec<ImageUse> {
    let config = options.config;
    let skip = config.skip_initializer || workload.annotations.skip_initializer;
    let initializer = config.images.initializer.as_deref();
    let mesh_image = config.images.service_mesh.as_deref();
    let wants_mesh = workload.annotations.wants_mesh() && !config.skip_service_mesh;
    let mesh = wants_mesh
        .then(|| inject::mesh_settings(&workload.annotations, config.trust_domain.as_str()).ok())
        .flatten();
    let link = CoordinatorLink {
        host: config.coordinator.host.to_string(),
        policy_hashes: Vec::new(),
        reference: None,
        allow_unattested: false,
    };
    let injection = Injection {
        initializer_image: (!skip).then(|| initializer.unwrap_or(INITIALIZER_IMAGE)),
        mesh: mesh
            .as_ref()
            .map(|mesh| (mesh_image.unwrap_or(SERVICE_MESH_IMAGE), mesh)),
        coordinator: &link,
        renew_seconds: 0,
        attestation_agent: false,
        claim_templates: &[],
    };
    let (path, field) = (workload.path, workload.spec_field.clone());
    if !workload.annotations.coordinator
        && let Some(spec) = path.pod_spec_mut(&mut workload.object)
    {
        injection.apply(spec, &field);
    }
    let Some(spec) = path.pod_spec(&workload.object) else {
        return Vec::new();
    };
    let locator = workload.locator();
    nacre_workload::images::images(spec, &field)
        .filter(|(image, _)| !image.is_empty())
        .map(|(image, field)| {
            let finding = Finding::info(nacre_findings::codes::lock::IMAGE_NOT_LOCKED, image);
            ImageUse {
                image: image.to_owned(),
                template: locator.locate(finding.field(field), Some(spec)),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source {
            file: Some("app.yml".to_owned()),
            stream: Stream::parse(text).unwrap(),
        }
    }

    const APP: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, annotations: {contrast.edgeless.systems/servicemesh-ingress: ''}}
spec:
  template:
    spec:
      runtimeClassName: contrast-cc
      initContainers: [{name: prepare, image: prepare:1}]
      containers:
        - {name: web, image: web:1}
---
apiVersion: v1
kind: Pod
metadata: {name: other}
spec:
  containers: [{name: other, image: other:1}]
";

    fn names(uses: &[ImageUse]) -> Vec<&str> {
        uses.iter().map(|u| u.image.as_str()).collect()
    }

    #[test]
    fn selected_workloads_and_what_is_injected() {
        let config = Confidential::default();
        let sources = [source(APP)];
        let uses = images(&sources, &config, None);
        assert_eq!(
            names(&uses),
            [INITIALIZER_IMAGE, SERVICE_MESH_IMAGE, "prepare:1", "web:1"]
        );
        let finding = uses[3].finding(
            nacre_findings::codes::lock::IMAGE_NOT_LOCKED,
            Severity::Error,
            "x",
        );
        assert_eq!(finding.location.line, Some(10));
        assert_eq!(
            finding.field.as_deref(),
            Some("spec.template.spec.containers[0].image")
        );
    }

    #[test]
    fn the_workspaces_coordinator_is_locked_too() {
        let config = Confidential {
            skip_initializer: true,
            skip_service_mesh: true,
            ..Confidential::default()
        };
        let coordinator = "\
apiVersion: v1
kind: Pod
metadata: {name: coordinator, annotations: {contrast.edgeless.systems/pod-role: coordinator}}
spec: {runtimeClassName: contrast-cc, containers: [{name: c, image: coordinator:1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: stray}
spec: {runtimeClassName: contrast-cc, containers: [{name: c, image: stray:1}]}
";
        let stream = Stream::parse(coordinator).unwrap();
        let uses = images(&[source(APP)], &config, Some(&stream));
        assert_eq!(names(&uses), ["prepare:1", "web:1", "coordinator:1"]);
    }
}
